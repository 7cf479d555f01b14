// Package history keeps what many clients did to routes, through different
// control planes and while those and the store came and went, and finds out
// whether all they were answered could have come from one table of routes that
// does one thing at a time: whether the history is linearizable.
//
// A Recorder is told when each call began and how it ended. A Client does that
// for calls of RouteService, one goroutine each:
//
//	h := history.New(time.Now)
//	for range 8 {
//		c := h.Client()
//		go func() {
//			c.Put(ctx, plane1, "r1", c.Value())        // whatever is there
//			rev, _ := c.Create(ctx, plane2, "r1", c.Value()) // if nothing is there
//			c.PutAt(ctx, plane1, "r1", c.Value(), rev) // if it is at that revision
//			c.Get(ctx, plane2, "r1")
//			c.Delete(ctx, plane1, "r1")
//			c.List(ctx, plane2)
//		}()
//	}
//	// when all have returned:
//	if err := h.Check(dir); err != nil {
//		t.Error(err) // says which route, what happened to it, and where the picture is
//	}
//
// A plane is any signalboxv1.RouteServiceClient. What was done by other means
// is recorded with Begin and End; no write of a recorded route may be left
// out, and the history of a store that was put back to a backup is another
// one.
//
// A call can end in three ways. It was done; it certainly was not; or nobody
// knows, because the answer was lost, and then it may still be done later, by
// a process that was frozen, say. Of answers of gRPC, Of decides which.
//
// The check is made by porcupine, for each route by itself. It is exponential
// at worst: the fewer calls a route has, and the fewer of unknown outcome
// beside each other, the quicker. Many routes with a hundred calls each are
// checked in no time.
package history
