package certificate

import (
	"crypto/x509"
	"time"
)

// A certificate begins earlier than it was made, by a tenth of its life but not
// more than mostEarly: control planes of which one is five minutes ahead and
// another five behind take each other's.
const (
	mostEarly = 10 * time.Minute
	earlyPart = 10
)

// Early is how much earlier than it is made a certificate begins that is good
// for life from then on.
func Early(life time.Duration) time.Duration { return min(mostEarly, life/earlyPart) }

// Life is how long a certificate was good for when it was made, if it began so
// much earlier. It depends on no clock.
func Life(c *x509.Certificate) time.Duration {
	whole := c.NotAfter.Sub(c.NotBefore)
	return max(0, whole-mostEarly, whole/(earlyPart+1)*earlyPart)
}
