//go:build !linux

package meter

import "time"

// CPU returns ErrSystem.
func CPU(int) (time.Duration, error) { return 0, ErrSystem }

// FamilyCPU returns ErrSystem.
func FamilyCPU(int) (time.Duration, error) { return 0, ErrSystem }

// FamilyCPUs returns ErrSystem.
func FamilyCPUs(int) (map[int]time.Duration, error) { return nil, ErrSystem }

// Resident returns ErrSystem.
func Resident(int) (int64, error) { return 0, ErrSystem }

// Load returns ErrSystem.
func Load() (float64, error) { return 0, ErrSystem }

// EndedCPU returns ErrSystem.
func EndedCPU(int) (time.Duration, error) { return 0, ErrSystem }
