package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"signalbox/bench/program"
)

// A peer is a proxy to compare with.
type peer struct {
	name string
	// find says which version is installed, or why none is.
	find func(context.Context, options) (version string, err error)
	// args are its command, and env what its environment has beside ours, when
	// it is to proxy from one address to another with what it needs in a
	// directory of its own.
	args func(o options, dir, from, to string) (args, env []string, err error)
}

// peers are all, in the order in which they are shown.
func peers() []peer {
	return []peer{
		{"nginx", version(`nginx/(\S+)`, "nginx", "-v"), nginx},
		{"HAProxy", version(`version (\S+)`, "haproxy", "-v"), haproxy},
		{"Caddy", version(`v?(\S+)`, "caddy", "version"), caddy},
		{"configurable-http-proxy", chpVersion, chp},
	}
}

// version returns a find that runs a command and looks for a version in what
// it prints.
func version(pattern, name string, args ...string) func(context.Context, options) (string, error) {
	re := regexp.MustCompile(pattern)
	return func(ctx context.Context, _ options) (string, error) { return program.Version(ctx, re, name, args...) }
}

// nginx: one worker, connections to the origin kept, and the forwarding
// headers that the others send by themselves.
func nginx(o options, dir, from, to string) (args, env []string, err error) {
	path, err := program.Find("nginx")
	if err != nil {
		return nil, nil, err
	}
	conf := fmt.Sprintf(`
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
%s
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  client_body_buffer_size 64k;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream origin { server %s; keepalive %d; keepalive_requests 1000000000; }
  server {
    listen %s;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
    }
  }
}
`, asRoot("user root;"), to, 4*o.connections, from)
	file, err := write(dir, "nginx.conf", conf)
	return []string{path, "-p", dir, "-c", file}, nil, err
}

// asRoot is a line that root needs.
func asRoot(line string) string {
	if os.Getuid() == 0 {
		return line
	}
	return ""
}

// haproxy: one thread, connections to the origin shared.
func haproxy(_ options, dir, from, to string) (args, env []string, err error) {
	path, err := program.Find("haproxy")
	if err != nil {
		return nil, nil, err
	}
	file, err := write(dir, "haproxy.cfg", fmt.Sprintf(`
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  http-reuse always
  option forwardfor
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend in
  bind %s
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  default_backend origin
backend origin
  server origin %s
`, from, to))
	return []string{path, "-db", "-f", file}, nil, err
}

// caddy: one thread at a time, enough idle connections for all, no log.
func caddy(o options, dir, from, to string) (args, env []string, err error) {
	path, err := program.Find("caddy")
	if err != nil {
		return nil, nil, err
	}
	host, port, err := net.SplitHostPort(from)
	if err != nil {
		return nil, nil, err
	}
	file, err := write(dir, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		output discard
	}
}
http://:%s {
	bind %s
	reverse_proxy %s {
		transport http {
			compression off
			keepalive_idle_conns_per_host %d
		}
	}
}
`, port, host, to, 4*o.connections))
	home := []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "GOMAXPROCS=1"}
	return []string{path, "run", "--adapter", "caddyfile", "--config", file}, home, err
}

// chp: as it comes, with the origin as its default target.
func chp(o options, _, from, to string) (args, env []string, err error) {
	dir, err := filepath.Abs(o.chp)
	if err != nil {
		return nil, nil, err
	}
	host, port, err := net.SplitHostPort(from)
	if err != nil {
		return nil, nil, err
	}
	return []string{
		"node", filepath.Join(dir, "bin", "configurable-http-proxy"), "--ip", host, "--port", port,
		"--api-ip", "127.0.0.1", "--api-port", "0", "--default-target", "http://" + to, "--log-level", "error",
	}, []string{"NODE_ENV=production"}, nil
}

// chpVersion reads the version from the package, and asks Node for its own.
func chpVersion(ctx context.Context, o options) (string, error) {
	text, err := os.ReadFile(filepath.Join(o.chp, "package.json"))
	if err != nil {
		return "", err
	}
	var p struct{ Version string }
	if err := json.Unmarshal(text, &p); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", err
	}
	return p.Version + " on Node " + strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), nil
}

func write(dir, name, text string) (string, error) {
	file := filepath.Join(dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}
