package meter

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestCPUGrowsByWhatIsUsed(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ { // ends with the test binary if the clock stands still
		now, err := CPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-before > 20*time.Millisecond {
			return
		}
	}
}

func TestFamilyCPUCountsDescendants(t *testing.T) {
	own, err := FamilyCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// A shell that uses CPU time, and says so, as a child of another.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo; read x; :'; :`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no shell:", err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = in.Close() }()
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	first, err := FamilyCPU(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := CPU(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if first < 10*time.Millisecond || first < 2*alone {
		t.Errorf("a shell with a busy child used %v, %v of it alone", first, alone)
	}
	if with, err := FamilyCPU(os.Getpid()); err != nil || with < own+first {
		t.Errorf("we and our children used %v, %v; before they started it was %v, and they used %v", with, err, own, first)
	}
}

func TestMemoryAndLoadCanBeRead(t *testing.T) {
	bytes, err := Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if bytes < 1<<20 {
		t.Errorf("this process has %d bytes", bytes)
	}
	if load, err := Load(); err != nil || load < 0 {
		t.Errorf("load %v, %v", load, err)
	}
}

func TestAProcessThatIsNotThereIsAnError(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Skip("nothing to run:", err)
	}
	if d, err := CPU(cmd.Process.Pid); err == nil {
		t.Errorf("a process that has ended used %v", d)
	}
}

func TestEndedChildrenAreCounted(t *testing.T) {
	before, err := EndedCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done`)
	if err := cmd.Run(); err != nil {
		t.Skip("no shell:", err)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	after, err := EndedCPU(os.Getpid())
	if d := after - before - used; err != nil || d < -2*tick || d > 2*tick {
		t.Errorf("a child used %v, and we count %v, %v", used, after-before, err)
	}
}
