package pool

// A Demand decides how many unused connections a client keeps. It doubles what
// it keeps when that was used up, and comes down slowly while most of it lies
// idle. The zero one keeps none, as a server does.
type Demand struct {
	least, most int
	want        int  // from least to most
	low         int  // the fewest that were left since the last rest
	doubled     bool // since the last rest
}

// NewDemand is of a client with these bounds in its URL.
func NewDemand(least, most int) Demand {
	d := Demand{least: max(least, 1)}
	d.most = max(d.least, most)
	d.reset()
	return d
}

// reset begins anew.
func (d *Demand) reset() { d.want, d.low, d.doubled = d.least, d.least, false }

// left says that so many are idle after one was taken for use.
func (d *Demand) left(idle int) {
	d.low = min(d.low, idle)
	if idle == 0 && !d.doubled {
		d.want, d.doubled = min(2*d.want, d.most), true
	}
}

// rest says that some time has passed; so many are idle.
func (d *Demand) rest(idle int) {
	if spare := min(d.low, idle) - d.want/2; spare > 0 {
		d.want = max(d.least, d.want-(spare+3)/4)
	}
	d.low, d.doubled = idle, false
}

// target is how many there should be, while so many users wait for one.
func (d *Demand) target(waiting int) int { return min(d.want+waiting, d.most) }
