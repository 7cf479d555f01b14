package proxy

import (
	"testing"
	"time"
)

func TestAQuotaIsFullAgainEverySecond(t *testing.T) {
	var q Quota
	begin := time.Unix(1000, 999)
	for second := range 3 {
		passed := 0
		for range maxFailures + 50 {
			left, ok := q.Take(begin.Add(time.Duration(second) * time.Second))
			if ok {
				passed++
			}
			if want := second > 0 && passed == 1; ok && (left == 50) != want || !want && left != 0 {
				t.Errorf("second %d, number %d: %d were left out", second, passed, left)
			}
		}
		if passed != maxFailures {
			t.Errorf("second %d: %d", second, passed)
		}
	}
}
