package proxy

import "net/http"

type stream struct{}

func (s *stream) stop(error) {}

type upgradedSet struct{}

func (x *exchange) switchProtocols(res *http.Response) {
	_ = res.Body.Close()
	x.fail(&failure{status: http.StatusBadGateway, reason: ReasonBadUpgrade, side: SideUpstream})
}
