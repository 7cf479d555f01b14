package tunnel

import (
	"context"
	"net/netip"
	"sync"

	"signalbox/node/tunnel/account"
	"signalbox/proto/tunnelurl"
)

// A Supervisor runs the instances that this node must run. All its methods may
// be called at the same time.
type Supervisor struct {
	cfg  Config
	book *account.Book
	wake chan struct{} // has one value when wanted is news to Run

	mu     sync.Mutex        // guards what follows
	wanted map[string]Wanted // by name; nil before the first Apply
	parsed map[string]parsed // of each wanted
	coming map[string]bool   // see Expect
	live   map[string]*task  // Run's to change
}

// A parsed is a URL as it was read.
type parsed struct {
	url tunnelurl.URL
	err error
}

// A task is one run of an instance.
type task struct {
	want Wanted // as it was begun; Incarnation is kept up
	inst *account.Instance
	stop context.CancelFunc
	// ending says that stop was called.
	ending bool
}

// New returns a supervisor that does nothing until Run.
func New(cfg Config) *Supervisor {
	return &Supervisor{
		cfg: cfg.withDefaults(), book: account.New(), wake: make(chan struct{}, 1),
		live: map[string]*task{},
	}
}

// Apply says which instances must run here from now on, all of them: those that
// are left out end. It never waits for the network; who applies the same twice
// changes nothing.
func (s *Supervisor) Apply(wanted []Wanted) {
	next, urls := make(map[string]Wanted, len(wanted)), make(map[string]parsed, len(wanted))
	for _, w := range wanted {
		u, err := tunnelurl.Parse(w.URL)
		next[w.Name], urls[w.Name] = w, parsed{u, err}
	}
	s.mu.Lock()
	s.wanted, s.parsed = next, urls
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Expect says which tunnel ports servers want that this node may be told to run
// next: until then a client here leaves them free.
func (s *Supervisor) Expect(ports map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming = ports
}

// Run runs what Apply said until ctx ends. When it returns, everything it
// started has ended.
func (s *Supervisor) Run(ctx context.Context) error {
	ended := make(chan string)
	for running := 0; ; {
		select {
		case <-s.wake:
		case name := <-ended:
			running--
			s.mu.Lock()
			delete(s.live, name)
			s.mu.Unlock()
		case <-ctx.Done():
			for ; running > 0; running-- {
				<-ended
			}
			return context.Cause(ctx)
		}
		running += s.reconcile(ctx, ended)
	}
}

// reconcile ends what must not run, begins what must and does not, and says how
// many it began. What ends and begins anew is begun when it has ended, so that
// an instance never runs twice and no other waits for it.
func (s *Supervisor) reconcile(ctx context.Context, ended chan<- string) (begun int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range s.live {
		w, ok := s.wanted[name]
		if !ok || w.URL != t.want.URL || w.Starts != t.want.Starts {
			t.ending = true
			t.stop()
		} else if w.Incarnation != t.want.Incarnation && !t.ending {
			t.want.Incarnation = w.Incarnation
			t.inst.SetIncarnation(w.Incarnation)
		}
	}
	for name, w := range s.wanted {
		if s.live[name] == nil {
			s.begin(ctx, w, s.parsed[name], ended)
			begun++
		}
	}
	return begun
}

// begin starts a run.
func (s *Supervisor) begin(ctx context.Context, w Wanted, p parsed, ended chan<- string) {
	ctx, stop := context.WithCancel(ctx)
	t := &task{want: w, inst: s.book.Begin(w.Name, w.Incarnation, w.Starts), stop: stop}
	s.live[w.Name] = t
	r := newRun(s.cfg, w, p.url, t.inst)
	r.served = s.served
	go func() { // Run waits for what is sent on ended
		defer stop()
		r.keep(ctx, p.err)
		t.inst.End()
		ended <- w.Name
	}()
}

// served says whether a server that this node must run, or may be told to, has
// the tunnel's port that a client on this machine wants to connect to.
func (s *Supervisor) served(port string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.coming[port] {
		return true
	}
	for _, p := range s.parsed {
		if p.err == nil && p.url.Role == tunnelurl.Server && p.url.Port() == port {
			return true
		}
	}
	return false
}

// Reader returns reports of all instances for one stream to a control plane;
// see account.Book.
func (s *Supervisor) Reader() *account.Reader { return s.book.Reader() }

// Open is how many connections and sessions run on the node now.
func (s *Supervisor) Open() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.live {
		n += t.inst.Open()
	}
	return n
}

// ipOf is the address of a peer, without its port.
func ipOf(a interface{ String() string }) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}
