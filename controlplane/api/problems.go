package api

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// problems gathers what is wrong with a request.
type problems []rules.Violation

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, rules.Violation{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// under adds what rules found wrong with the value of a field.
func (p *problems) under(field string, err error) {
	var inv *rules.Invalid
	switch {
	case err == nil:
	case errors.As(err, &inv):
		for _, v := range inv.Violations {
			*p = append(*p, rules.Violation{Field: strings.Trim(field+"."+v.Field, "."), Reason: v.Reason})
		}
	default:
		p.add(field, "%s", err.Error())
	}
}

// err returns an *rules.Invalid, or nil when nothing is wrong.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &rules.Invalid{Violations: p}
}

// name checks the name of a record that must exist already.
func (p *problems) name(field, name string) {
	if name == "" {
		p.add(field, "is missing")
	}
}

// expected checks an expected revision.
func (p *problems) expected(rev *int64) {
	if rev != nil && *rev < 0 {
		p.add("expected_revision", "is %d; it must not be negative", *rev)
	}
}

// Bounds of wait_timeout.
const (
	defaultWait = 5 * time.Second
	maxWait     = 60 * time.Second
)

// waiting is how long a write waits for nodes: not at all, if it is nil.
type waiting *time.Duration

// waits is what the requests of writes have in common.
type waits interface {
	GetWait() signalboxv1.Wait
	GetWaitTimeout() *durationpb.Duration
}

// wait reads how long a write is to wait.
func (p *problems) wait(req waits) waiting {
	limit := defaultWait
	if d := req.GetWaitTimeout(); d != nil {
		limit = d.AsDuration()
		if d.CheckValid() != nil || limit < 0 || limit > maxWait {
			p.add("wait_timeout", "must be from 0s to %s", maxWait)
		}
	}
	switch req.GetWait() {
	case signalboxv1.Wait_WAIT_UNSPECIFIED, signalboxv1.Wait_WAIT_NONE:
		return nil
	case signalboxv1.Wait_WAIT_NODES:
		if limit == 0 {
			return nil // nobody is given up for not being waited for
		}
		return &limit
	}
	p.add("wait", "%d is not a known value", req.GetWait())
	return nil
}
