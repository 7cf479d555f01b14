package proxy

import (
	"testing"
	"time"
)

func TestNothingWatchesAnExchangeThatIsOver(t *testing.T) {
	x := &exchange{begun: time.Now()}
	x.policy.Idle = time.Hour
	x.watchStillness()
	x.still.end()
	x.checkStillness() // which had begun before the end
	if x.still.timer.Stop() {
		t.Error("its timer runs")
	}
}

func TestAWebSocketWithoutALimitHasNoTimer(t *testing.T) {
	x := &exchange{begun: time.Now(), asked: "websocket"}
	x.policy.Idle = time.Hour
	x.watchStillness()
	if x.still.timer != nil {
		t.Error("it has one")
	}
	x.touch(false)
	x.still.end()
}
