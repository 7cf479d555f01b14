package api

import (
	"context"
	"crypto"
	"crypto/rand"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/auth"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// A Certifier says how nodes' certificates are made.
type Certifier struct {
	// Authority signs them, and knows those it signed: a [pki.Authority], or a
	// [pki.Kept].
	Authority interface {
		auth.Signer
		IssueNode(n certificate.Node, public crypto.PublicKey, now time.Time, life time.Duration) (chain []byte, end time.Time, err error)
	}
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
	public, err := certificate.ParseRequest(req.GetRequest())
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
	to := certificate.Node{Name: req.GetNode(), Mark: auth.Mark(view, req.GetNode())}
	chain, end, err := s.Certifier.Authority.IssueNode(to, public, time.Now(), s.Certifier.Life)
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

// RevokeNodeCertificates implements CertificateService.
func (s *certificates) RevokeNodeCertificates(ctx context.Context, req *signalboxv1.RevokeNodeCertificatesRequest) (*signalboxv1.RevokeNodeCertificatesResponse, error) {
	var bad problems
	bad.under("node", rules.NodeName(req.GetNode()))
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	r := &signalboxv1.NodeRevocation{Node: req.GetNode(), Mark: rand.Text(), Meta: &signalboxv1.Meta{}}
	p := &put{field: "node", key: auth.RevocationKey(req.GetNode()), message: r, meta: r.Meta}
	result, err := s.putOne(ctx, p, false, nil, nil)
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.RevokeNodeCertificatesResponse{Result: result}, nil
}
