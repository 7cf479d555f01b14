package tally

import (
	"context"
	"maps"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
)

// Election is the name of the election whose leader writes what nobody else has
// to, and folds.
const Election = "tally"

// A checkpoint is made every Config.Every. Other times are counted in those.
const (
	// handOver is how long a replica that does not lead leaves it to the one
	// that does to write what it knows of a process that is gone: nobody feeds
	// that any more.
	handOver = 3
	// settle is how long a dead process waits for all replicas to have said
	// what they know of it, before it is folded.
	settle = 24
	// pruneEvery is how often routes that no longer exist are looked for.
	pruneEvery = 12
)

const (
	// roundBytes is about how much one checkpoint writes; what is more waits
	// for the next. The store keeps every write until it compacts its history.
	roundBytes = 2 << 20
	// batchBytes is about how much one transaction writes.
	batchBytes = 256 << 10
	// maxConflicts is how often a transaction is tried again without what was
	// in conflict. Each try finds one only, unless the notes followed
	// meanwhile tell of more.
	maxConflicts = 8
	// lastTime bounds the checkpoint at the end.
	lastTime = 5 * time.Second
)

// Notes is what a Book needs of a store.
type Notes interface {
	PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error
	FollowNotes(ctx context.Context, prefix string, apply func(store.NoteChange) error) error
}

// A Lead waits until this replica leads the election of that name, and returns
// a channel that is closed when it may not lead any more (nil: it leads for
// ever); then it is called again. Errors are taken for faults that pass.
type Lead func(ctx context.Context, election string) (over <-chan struct{}, err error)

// Run follows the checkpoint and writes this replica's part of it, until ctx
// ends; it returns ctx's cause. At the end it writes once more, for a few
// seconds at most; whatever reports should be in that have to be in the book by
// then. It is called once.
func (b *Book) Run(ctx context.Context, notes Notes, lead Lead) error {
	r := runner{book: b, notes: notes, applied: make(chan struct{}, 1)}
	// The last checkpoint needs the notes to be followed a little longer.
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	g := errgroup.Group{}
	g.Go(func() error { return notes.FollowNotes(following, checkpoint.Prefix, r.apply) })
	leads := make(chan (<-chan struct{}))
	g.Go(func() error { return r.stand(ctx, lead, leads) })
	r.loop(ctx, leads)
	stop()
	_ = g.Wait() // both end because they were told to
	return context.Cause(ctx)
}

// A runner is one Run. Its fields belong to the loop, but for what says
// otherwise.
type runner struct {
	book  *Book
	notes Notes
	// applied holds one when notes were applied since it was last looked at.
	applied chan struct{}
	// round counts, for what is done in some of them only.
	round int
	// failing is whether the last checkpoint could not be written.
	failing bool
	// fed are the sources that this replica fed when it last looked.
	fed map[*source]bool
}

func (r *runner) apply(c store.NoteChange) error {
	r.book.Apply(c)
	select {
	case r.applied <- struct{}{}:
	default:
	}
	return nil
}

// stand tells the loop each time that this replica leads.
func (r *runner) stand(ctx context.Context, lead Lead, leads chan<- <-chan struct{}) error {
	for ctx.Err() == nil {
		over, err := lead(ctx, Election)
		if err != nil {
			wait(ctx, r.book.config.Every, nil)
			continue
		}
		select {
		case leads <- over:
		case <-ctx.Done():
		}
		wait(ctx, math.MaxInt64, over)
	}
	return nil
}

// wait returns after a time, with the channel, or with ctx.
func wait(ctx context.Context, d time.Duration, until <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-until:
	case <-ctx.Done():
	}
}

func (r *runner) loop(ctx context.Context, leads <-chan <-chan struct{}) {
	tick := time.NewTicker(r.book.config.Every)
	defer tick.Stop()
	var leading bool
	var over <-chan struct{} // ends leading
	for {
		select {
		case over = <-leads:
			leading = true
			r.book.metrics.leads.Set(1)
			r.book.config.Log.Info("leads the checkpoints")
		case <-over:
			leading, over = false, nil
			r.book.metrics.leads.Set(0)
			r.book.config.Log.Info("leads the checkpoints no more")
		case now := <-tick.C:
			r.turn(ctx, now, leading)
		case <-ctx.Done():
			r.last(ctx, leading)
			return
		}
	}
}

// turn is what is done every Config.Every.
func (r *runner) turn(ctx context.Context, now time.Time, leads bool) {
	select {
	case <-r.book.loaded:
	default:
		return
	}
	b, every := r.book, r.book.config.Every
	b.look(now, settle*every)
	if r.round++; r.round%pruneEvery == 1 {
		b.Prune()
	}
	begun := time.Now()
	defer func() { b.metrics.took.Observe(time.Since(begun).Seconds()) }()
	writes, _ := b.changed(now, roundBytes, r.mine(now, leads))
	_, err := r.commit(ctx, writes)
	if leads && err == nil {
		_, err = r.commit(ctx, b.folds(now, roundBytes, b.due(now, settle*every, b.config.Lost)))
	}
	r.report(ctx, err)
}

// mine tells the sources whose chunks are this replica's to write: those it
// feeds and, if it leads, those that nobody feeds. Perhaps the leader was not
// told all of those that are gone, and there is nobody to ask any more: what it
// was told last is written by the one that fed them, the rest by anyone after
// handOver.
func (r *runner) mine(now time.Time, leads bool) func(*source) bool {
	here, elsewhere := r.book.fed()
	before := r.fed
	r.fed = maps.Clone(here)
	if leads {
		return func(s *source) bool { return !elsewhere[s] }
	}
	for _, s := range r.book.gone(now, handOver*r.book.config.Every) {
		here[s] = true
	}
	return func(s *source) bool { return here[s] || before[s] && !elsewhere[s] }
}

// last writes all that is not written yet and that nobody else feeds; one that
// leads writes for everybody.
func (r *runner) last(ctx context.Context, leads bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	select {
	case <-r.book.loaded:
	default:
		return
	}
	var may func(*source) bool
	if !leads {
		_, elsewhere := r.book.fed()
		may = func(s *source) bool { return !elsewhere[s] }
	}
	for ctx.Err() == nil {
		writes, waiting := r.book.changed(time.Now(), math.MaxInt, may)
		late, err := r.commit(ctx, writes)
		if err != nil {
			r.report(ctx, err)
			return
		}
		if late == 0 && !waiting {
			return
		}
		wait(ctx, lastTime, r.applied)
	}
}
