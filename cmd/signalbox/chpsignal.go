package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// endAtSecondSignal ends the process, as CHP does at the first, when a second
// signal comes while it ends: by then what leave removes is removed, and the exit
// code is the same. It returns what ends the waiting, for when the process ends
// by itself.
func endAtSecondSignal(leave func()) (stop func()) {
	signals := make(chan os.Signal, 2) // two may come before anybody looks
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended, done := make(chan struct{}), sync.WaitGroup{}
	came := 0
	done.Go(func() {
		for came < 2 {
			select {
			case <-signals:
				came++
			case <-ended:
				return
			}
		}
		leave()
		os.Exit(chpStopped)
	})
	return func() {
		close(ended)
		done.Wait()
		if came > 0 { // nothing is left to do that another could cut short
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
		}
		signal.Stop(signals)
	}
}
