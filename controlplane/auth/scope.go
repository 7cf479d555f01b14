package auth

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// healthService begins the names of its methods.
const healthService = "/grpc.health.v1.Health/"

// open are the services anybody may call: health, which says nothing but
// "serving", and reflection, which tells what the .proto files say and those
// are public.
var open = []string{
	healthService,
	"/grpc.reflection.v1.ServerReflection/",
	"/grpc.reflection.v1alpha.ServerReflection/",
}

// isOpen reports whether a method needs no key. It may need a certificate.
func isOpen(method string) bool {
	for _, service := range open {
		if strings.HasPrefix(method, service) {
			return true
		}
	}
	return false
}

// scopes returns the scope of every method of our services, by the full name
// that gRPC gives it. A method without the option is not there, and so is
// refused to everyone.
func scopes() map[string]string {
	found := map[string]string{}
	protoregistry.GlobalFiles.RangeFilesByPackage(signalboxv1.File_signalbox_v1_meta_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				if scope, _ := proto.GetExtension(method.Options(), signalboxv1.E_Scope).(string); scope != "" {
					found[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = scope
				}
			}
		}
		return true
	})
	return found
}
