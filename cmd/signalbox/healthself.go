package main

import (
	"net"
	"net/url"

	"github.com/spf13/pflag"
)

// firstProcess holds the command line of a container's own process.
const firstProcess = "/proc/1/cmdline"

// ownURL is where a process with this command line, and the environment of
// this one, can be asked whether it is well; empty where it cannot, without
// certificates at least.
func ownURL(line []string) string {
	if len(byName(line)) == 0 {
		return ""
	}
	cmd, args, err := newRoot().Find(byName(line))
	if err == nil && cmd.Name() == "chp" {
		return ownCHP(args)
	}
	if err != nil || cmd.ParseFlags(args) != nil || fillFlags(cmd) != nil {
		return ""
	}
	value := func(flag string) string {
		if f := cmd.Flags().Lookup(flag); f != nil {
			return f.Value.String()
		}
		return ""
	}
	switch cmd.Name() {
	case "up", "controlplane", "gateway":
		if value("api-tls-cert") == "" {
			return local(value("api-listen"))
		}
	case "node":
		return local(value("admin-listen"))
	case nodepassName:
		return ownNodePass(cmd.Flags().Args())
	case "etcd":
		urls, _ := cmd.Flags().Lookup("listen-client").Value.(pflag.SliceValue)
		for _, raw := range urls.GetSlice() {
			if u, err := url.Parse(raw); err == nil && u.Scheme == "http" {
				return local(u.Host)
			}
		}
	}
	return ""
}

// ownCHP is where a drop-in for CHP says that it is well.
func ownCHP(args []string) string {
	var c chpFlags
	if c.parse(args) != nil || c.socket != "" || c.public.key != "" {
		return ""
	}
	if at := local(c.publicAddr()); at != "" {
		return at + chpHealth
	}
	return ""
}

// ownNodePass is where a NodePass master says that it is well.
func ownNodePass(args []string) string {
	if len(args) != 1 {
		return ""
	}
	if u, err := readNodePassURL(args[0]); err == nil && u.tunnel == "" && u.tls == "0" {
		return local(u.addr)
	}
	return ""
}

// local is the URL of an address that is listened on here, empty for one that
// is off.
func local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
