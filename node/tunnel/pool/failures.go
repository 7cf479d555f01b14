package pool

import "time"

// failures are what went wrong with dialling since it last went well.
type failures struct {
	last  error
	fresh bool // last has not been told of
	first time.Time
	pause time.Duration
	// over delivers when the pause is; nil where there is none.
	over <-chan time.Time
}

// count takes how one attempt went. Those that were under way together make
// one pause.
func (f *failures) count(err error) {
	if err == nil {
		*f = failures{}
		return
	}
	if f.last == nil {
		f.first = time.Now()
	}
	f.last, f.fresh = err, true
	if f.over == nil {
		f.pause = min(max(2*f.pause, soon), later)
		f.over = time.After(f.pause)
	}
}

// pausing tells whether nothing is to be dialled now.
func (f *failures) pausing() bool { return f.over != nil }

// since is for how long nothing has gone well, as long as so many are left.
func (f *failures) since(left int) time.Duration {
	if f.last == nil || left > 0 {
		return 0
	}
	return time.Since(f.first)
}
