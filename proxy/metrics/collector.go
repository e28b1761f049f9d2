// Package metrics answers what a monitoring system may know of this edge: /metrics in Prometheus' formats, made of one
// control.Report per scrape, /healthz and /readyz. Nothing is counted here. Label values come from the configuration only, never
// from a request, so that no client can make series.
package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/prometheus/client_golang/prometheus"
)

// scrapeLimit bounds how long taking a report may take.
const scrapeLimit = 5 * time.Second

// family is one metric of things of type T: what it is called and how it is read. emit is called once for each value of the labels that follow
// the thing's own.
type family[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(t *T, emit func(v float64, labels ...string))
}

// value makes a family with one number for each thing; fields are the labels that name the thing.
func value[T any](kind prometheus.ValueType, name, help string, fields []string, read func(*T) float64) family[T] {
	return each(kind, name, help, fields, func(t *T, emit func(float64, ...string)) { emit(read(t)) })
}

func each[T any](kind prometheus.ValueType, name, help string, fields []string, read func(*T, func(float64, ...string))) family[T] {
	return family[T]{prometheus.NewDesc("edge_"+name, help, fields, nil), kind, read}
}

func send[T any](ch chan<- prometheus.Metric, families []family[T], t *T, names ...string) {
	for i := range families {
		f := &families[i]
		f.read(t, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, append(names[:len(names):len(names)], labels...)...)
		})
	}
}

func describe[T any](ch chan<- *prometheus.Desc, families []family[T]) {
	for i := range families {
		ch <- families[i].desc
	}
}

// collector reads an operator. Collect may be called by several goroutines.
type collector struct {
	op  control.Operator
	now func() time.Time
}

// NewCollector makes the collector of the edge_ metrics.
func NewCollector(op control.Operator) prometheus.Collector { return &collector{op, time.Now} }

// Describe names every family that Collect may send.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, process)
	describe(ch, loops)
	describe(ch, frontends)
	describe(ch, backends)
	describe(ch, servers)
	describe(ch, peers)
	ch <- handshakeAge
}

// Collect takes one report and sends it. If there is none, the scrape fails with the reason.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	r, err := c.op.Report(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(process[0].desc, fmt.Errorf("take a report: %w", err))
		return
	}
	send(ch, process, r)
	for i := range r.Loops {
		send(ch, loops, &r.Loops[i], fmt.Sprint(i))
	}
	for i := range r.Frontends {
		send(ch, frontends, &r.Frontends[i], r.Frontends[i].Name)
	}
	for i := range r.Backends {
		b := &r.Backends[i]
		send(ch, backends, b, b.Name)
		for j := range b.Servers {
			send(ch, servers, &b.Servers[j], b.Name, b.Servers[j].Name)
		}
	}
	if r.Mesh == nil {
		return
	}
	for i := range r.Mesh.Peers {
		p := &r.Mesh.Peers[i]
		send(ch, peers, p, p.Name)
		if !p.LastHandshake.IsZero() { // an absent series says "never"; a clock that went back says 0
			age := max(0, c.now().Sub(p.LastHandshake).Seconds())
			ch <- prometheus.MustNewConstMetric(handshakeAge, prometheus.GaugeValue, age, p.Name)
		}
	}
}
