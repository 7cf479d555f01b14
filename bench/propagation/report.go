package main

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// report writes the results.
func report(dir string, points []point) error {
	text, err := json.MarshalIndent(points, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "propagation.json"), append(text, '\n'), 0o644)
}
