package report

import "time"

// Active is when something of a route's incarnation last moved here, at the
// latest; the zero time if nothing has, or it is not known.
func (b *Book) Active(name string, created int64) time.Time {
	b.mu.Lock()
	c := b.routes[incarnation{name, created}]
	b.mu.Unlock()
	if c == nil {
		return time.Time{}
	}
	at := c.active.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}
