package api

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/pki"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// A Certifier says how nodes' certificates are made.
type Certifier struct {
	// Authority signs them.
	Authority *pki.Authority
	// Life is how long one is good for.
	Life time.Duration
}

// certificates is the CertificateService.
type certificates struct {
	signalboxv1.UnimplementedCertificateServiceServer
	*core
}

// IssueNodeCertificate implements CertificateService.
func (s *certificates) IssueNodeCertificate(ctx context.Context, req *signalboxv1.IssueNodeCertificateRequest) (*signalboxv1.IssueNodeCertificateResponse, error) {
	var bad problems
	bad.under("node", rules.NodeName(req.GetNode()))
	public, err := pki.ParseRequest(req.GetRequest())
	bad.under("request", err)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	if err := auth.MayJoin(ctx, req.GetNode()); err != nil {
		return nil, err
	}
	if s.Certifier == nil {
		return nil, status.Error(codes.FailedPrecondition, "this control plane has no authority for nodes: they connect with their API key")
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	var wanted *signalboxv1.NodeWanted
	if r := view.Get(nodeKey(req.GetNode())); r != nil {
		wanted = r.Message.(*signalboxv1.Node).GetWanted()
	}
	at := issueTime(time.Now(), wanted)
	chain, end, err := s.Certifier.Authority.IssueNode(req.GetNode(), public, at, s.Certifier.Life)
	if err != nil {
		s.Log.Error("node's certificate cannot be made", "node", req.GetNode(), "err", err)
		return nil, status.Errorf(codes.FailedPrecondition, "no certificate can be made: %v", err)
	}
	s.Log.Info("certificate issued", "node", req.GetNode(), "key", auth.Caller(ctx).GetName(), "until", end)
	return &signalboxv1.IssueNodeCertificateResponse{
		Chain:      string(chain),
		ExpireTime: timestamppb.New(end),
	}, nil
}

// issueTime is the time a certificate is said to be made at. Certificates know
// whole seconds: one that is made in the second in which earlier ones were
// revoked says the next.
func issueTime(now time.Time, wanted *signalboxv1.NodeWanted) time.Time {
	now = now.Truncate(time.Second)
	if from := wanted.GetCertificatesFrom(); from != nil && now.Before(from.AsTime()) {
		return from.AsTime().Truncate(time.Second).Add(time.Second)
	}
	return now
}
