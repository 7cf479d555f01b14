package meter

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit in which the kernel tells what ended processes have used.
const tick = 10 * time.Millisecond

// EndedCPU returns the CPU time of a process's children that have ended and
// were waited for, with theirs. It is known to a hundredth of a second.
func EndedCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, and may hold anything. Then
	// the state is the third, and cutime and cstime are the 16th and 17th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("stat of process %d is %q", pid, stat)
	}
	user, err := strconv.ParseInt(fields[13], 10, 64)
	if err != nil {
		return 0, err
	}
	kernel, err := strconv.ParseInt(fields[14], 10, 64)
	return time.Duration(user+kernel) * tick, err
}
