package proxy_test

import (
	"net/http"
	"testing"
)

func TestARequestIsForwardedAsItCame(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("GET //a/%2e%2e/b%2Fc/%61;v=1?x=1;y=%zz&&z=/../ HTTP/1.1", "Host: Pub.Example:81", "Accept: */*", "X-Dup: 1", "X-Dup: 2", "Cookie: a=b; c=d")
	up := o.accept(t)
	want := "GET //b%2Fc/%61;v=1?x=1;y=%zz&&z=/../ HTTP/1.1\nHost: Pub.Example:81\nAccept: */*\nCookie: a=b; c=d\nX-Dup: 1\nX-Dup: 2\n" +
		"X-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: Pub.Example:81\nX-Forwarded-Port: 81\nX-Forwarded-Proto: http"
	if got := lines(up.head()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\nServer: origin\r\nDate: then\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello")
	if got := lines(c.head()); got != "HTTP/1.1 200 OK\nContent-Length: 5\nDate: then\nServer: origin\nSet-Cookie: a\nSet-Cookie: b\nX-A: 1\nX-A: 2" {
		t.Errorf("got\n%s", got)
	}
	if got := c.exactly(5); got != "hello" {
		t.Errorf("body %q", got)
	}
	c.send("GET /second HTTP/1.1", "Host: x")
	if got := lines(up.head(), "x-forwarded", "host"); got != "GET /second HTTP/1.1" {
		t.Errorf("got %s", got)
	}
	up.raw("HTTP/1.1 204 No Content\r\n\r\n")
	if res, _ := c.answer(); res.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", res.StatusCode)
	}
}
