package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/mongostore/client"
)

// pools collects the connections of all clients when it is asked.
type pools struct {
	desc *prometheus.Desc

	mu      sync.Mutex
	next    int
	clients map[int]func() client.State
}

func (p *pools) add(state func() client.State) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients == nil {
		p.clients = map[int]func() client.State{}
	}
	id := p.next
	p.next++
	p.clients[id] = state
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.clients, id)
	}
}

func (p *pools) Describe(ch chan<- *prometheus.Desc) { ch <- p.desc }

func (p *pools) Collect(ch chan<- prometheus.Metric) {
	var sum client.Pool
	p.mu.Lock()
	for _, state := range p.clients {
		s := state().Pool
		sum.Idle += s.Idle
		sum.InUse += s.InUse
		sum.Max += s.Max
		sum.Waiting += s.Waiting
	}
	p.mu.Unlock()
	for _, v := range []struct {
		state string
		n     int
	}{{"idle", sum.Idle}, {"in_use", sum.InUse}, {"max", sum.Max}, {"waiting", sum.Waiting}} {
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, float64(v.n), v.state)
	}
}
