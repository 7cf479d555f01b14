// Deny by default: no credentials, no access, on every method of every API;
// secrets are shown once and are in no list, event or log; a key that is ended
// ends its streams.

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// methods are all methods of all services.
func methods(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("signalbox.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				all = append(all, f.Services().Get(i).Methods().Get(j))
			}
		}
		return true
	})
	if len(all) < 15 {
		t.Fatalf("only %d methods were found", len(all))
	}
	return all
}

// callGRPC calls any method with an empty request, and returns its status.
func callGRPC(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor) codes.Code {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingServer() {
		return status.Code(conn.Invoke(ctx, name, in, out))
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: m.IsStreamingClient()}, name)
	if err != nil {
		return status.Code(err)
	}
	_ = stream.SendMsg(in) // an error of it is in what is received
	_ = stream.CloseSend()
	if strings.HasPrefix(string(m.Name()), "Follow") { // it says nothing until something happens
		if head, err := stream.Header(); err == nil && head != nil {
			return codes.OK
		}
	}
	return status.Code(stream.RecvMsg(out))
}

// bindings are the methods and paths by which HTTP reaches a method.
func bindings(m protoreflect.MethodDescriptor) [][2]string {
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	var all [][2]string
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		for method, path := range map[string]string{"GET": r.GetGet(), "PUT": r.GetPut(), "POST": r.GetPost(), "PATCH": r.GetPatch(), "DELETE": r.GetDelete()} {
			if path != "" {
				all = append(all, [2]string{method, regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "x")})
			}
		}
	}
	return all
}

func TestEveryMethodAsksForItsScope(t *testing.T) {
	s := newSystem(t, 1, 0)
	keys := s.services(0).keys
	made := map[string]string{} // secrets by the scope that the key lacks, or alone has
	create := func(name string, scopes []string) {
		t.Helper()
		res, err := keys.CreateApiKey(t.Context(), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: name, Scopes: scopes}})
		if err != nil {
			t.Fatal(err)
		}
		made[name] = res.GetSecret()
	}
	plain := func(scope string) string { return strings.ReplaceAll(scope, ":", "-") }
	for _, scope := range rules.Scopes() {
		kind, _, _ := strings.Cut(scope, ":")
		create("only-"+plain(scope), []string{scope})
		create("not-"+plain(scope), slices.DeleteFunc(rules.Scopes(), func(other string) bool {
			return other == "admin" || other == scope || other == kind+":write" && scope == kind+":read"
		}))
	}

	// alone is a key that has a scope and no other; of those that will do for any
	// method there is a new one each time, since one method ends its caller's.
	alone := func(scope string) string {
		if scope != "any" {
			return made["only-"+plain(scope)]
		}
		name := fmt.Sprintf("any-%d", len(made))
		create(name, []string{"events:read"})
		return made[name]
	}

	http := func(method, path, key string) int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, s.planes[0].rest.base+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		res, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	reached := 0
	for _, m := range methods(t) {
		scope, _ := proto.GetExtension(m.Options(), signalboxv1.E_Scope).(string)
		if scope == "" {
			t.Errorf("%s says no scope", m.FullName())
			continue
		}
		for _, who := range []struct {
			name, key string
			grpc      codes.Code
			http      int
		}{
			{"no key", "", codes.Unauthenticated, 401},
			{"a wrong key", "wrong", codes.Unauthenticated, 401},
			{"a key with every other scope", made["not-"+plain(scope)], codes.PermissionDenied, 403},
		} {
			if scope == "any" && who.grpc == codes.PermissionDenied {
				continue // there is no such key
			}
			if got := callGRPC(t.Context(), dialGRPC(t, s.planes[0].grpc, who.key, nil).conn, m); got != who.grpc {
				t.Errorf("%s with %s: got %v, want %v", m.FullName(), who.name, got, who.grpc)
			}
			for _, b := range bindings(m) {
				reached++
				if got := http(b[0], b[1], who.key); got != who.http {
					t.Errorf("%s %s with %s: got %d, want %d", b[0], b[1], who.name, got, who.http)
				}
			}
		}
		// And the scope is enough: what refuses now is something else.
		if got := callGRPC(t.Context(), dialGRPC(t, s.planes[0].grpc, alone(scope), nil).conn, m); got == codes.Unauthenticated || scope != "node" && got == codes.PermissionDenied {
			t.Errorf("%s with its scope alone: got %v", m.FullName(), got)
		}
		for _, b := range bindings(m) {
			if got := http(b[0], b[1], alone(scope)); got == 401 || got == 403 {
				t.Errorf("%s %s with the scope alone: got %d", b[0], b[1], got)
			}
		}
	}
	if reached < 3*15 {
		t.Errorf("only %d HTTP calls were made", reached)
	}
	for _, b := range [][2]string{{"GET", "/api/routes"}, {"GET", "/api/routes/x"}, {"POST", "/api/routes/x"}, {"DELETE", "/api/routes/x"}, {"GET", "/api/"}} {
		for name, key := range map[string]string{"no key": "", "a wrong key": "wrong", "another scope": made["not-routes-read"]} {
			if got := http(b[0], b[1], key); got != 403 {
				t.Errorf("%s %s with %s: got %d, want CHP's 403", b[0], b[1], name, got)
			}
		}
	}
	for _, open := range []string{"/healthz", "/readyz", "/docs/", "/openapi.json"} {
		if got := http("GET", open, ""); got != 200 {
			t.Errorf("%s, for which no key is asked: got %d", open, got)
		}
	}
	for _, line := range s.log.lines() {
		for name, secret := range made {
			if strings.Contains(line, secret) {
				t.Errorf("the secret of %s is in the log: %s", name, line)
			}
		}
	}
}

func TestAnEndedKeyEndsItsStreams(t *testing.T) {
	s := newSystem(t, 2, 0)
	admin := s.services(0)
	create := func(name, scope string) string {
		t.Helper()
		res, err := admin.keys.CreateApiKey(t.Context(), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: name, Scopes: []string{scope}}})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetSecret()
	}
	reader, joiner := create("reader", "events:read"), create("joiner", "node")
	other := s.planes[1] // the streams are at one control plane, the write at the other

	// The other control plane knows of a key when it was made here.
	var followed strings.Builder
	r, err := http.NewRequestWithContext(t.Context(), "GET", other.rest.base+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", reader)
	res, err := s.client.Do(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("follow events: %v %v", res, err)
	}
	defer func() { _ = res.Body.Close() }()
	events, err := dialGRPC(t, other.grpc, reader, nil).events.FollowEvents(t.Context(), &signalboxv1.FollowEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Header(); err != nil {
		t.Fatal(err)
	}
	feed, err := dialGRPC(t, other.grpc, joiner, nil).feed.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: "n", Epoch: 1}}}
	if err := feed.Send(hello); err != nil {
		t.Fatal(err)
	}
	if welcome, err := feed.Recv(); err != nil || welcome.GetWelcome() == nil {
		t.Fatalf("got %v %v", welcome, err)
	}

	for _, name := range []string{"reader", "joiner"} {
		if _, err := admin.keys.DeleteApiKey(t.Context(), &signalboxv1.DeleteApiKeyRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	in := bufio.NewReader(res.Body)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the server-sent events end with %v", err)
		}
		if strings.Contains(line, reader) || strings.Contains(line, joiner) {
			t.Errorf("an event tells a secret: %s", line)
		}
		_, _ = followed.WriteString(line)
	}
	if !strings.Contains(followed.String(), "UNAUTHENTICATED") {
		t.Errorf("they end without a reason: %s", followed.String())
	}
	for err = nil; err == nil; _, err = events.Recv() {
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of events ends with %v", err)
	}
	for err = nil; err == nil; _, err = feed.Recv() {
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the node's stream ends with %v", err)
	}
	list, err := admin.keys.ListApiKeys(t.Context(), &signalboxv1.ListApiKeysRequest{})
	if err != nil || strings.Contains(list.String(), s.admin) || strings.Contains(list.String(), s.nodeKey) {
		t.Errorf("the list of keys is %v %v", list, err)
	}
}
