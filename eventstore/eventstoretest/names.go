package eventstoretest

import (
	"fmt"
	"strings"

	"github.com/annals-es/annals/eventstore"
)

// oddNames are names that are fine, and each another one's neighbour.
func oddNames() []string {
	return []string{
		"order-1", "order-11", "order-1 ", " order-1", "order-1-", "order-1-2", "order--1", "order", "order-", "-", "--", "-1", "Order-1", "ORDER-1",
		"order_1", "order.1", "order/1", `order\1`, "order-1\n", "order-1\t", "order%2d1", "order-%", "order-*", "order-.*", "^order-1$", "order-[1]", "order-(1)", "order-1$",
		`"order"-'1'`, "order-{$ne: 1}", "order-$1", "a", "1", "null", "true", "{}", "order-\x01", "order-\x7f",
		"größe-1", "gro\u0308ße-1", "gr\u00f6ße-1\u200b", "заказ-1", "注文-1", "\U0001F4E6-1", "\u202eorder-1", "order\u2010" + "1", "İstanbul-1", "istanbul-1", "ﬁ-1", "fi-1",
		strings.Repeat("n", eventstore.MaxNameLen), strings.Repeat("n", eventstore.MaxNameLen-1), strings.Repeat("ü", eventstore.MaxNameLen/2),
	}
}

// badNames are refused everywhere.
func badNames() []string {
	return []string{
		"", "$", "$order-1", "order\x00-1", "\x00", "order-\xff", "\xed\xa0\x80",
		strings.Repeat("n", eventstore.MaxNameLen+1), strings.Repeat("ü", eventstore.MaxNameLen/2) + "n",
	}
}

func nameTests() []test {
	return []test{
		{"StreamsOfOddNames", func(f *fixture) {
			names := distinct(oddNames())
			last := map[string]eventstore.AppendResult{}
			for i, name := range names {
				f.append(eventstore.StreamID(name), eventstore.NoStream, f.event(i))
			}
			for i, name := range names {
				last[name] = f.append(eventstore.StreamID(name), eventstore.Exact(1), f.event(1000+i))
			}
			for i, name := range names {
				f.holds(eventstore.StreamID(name), 1, f.event(i), f.event(1000+i))
			}
			log := f.log(last[names[len(names)-1]], eventstore.LogQuery{})
			f.same("events in the log", len(log), 2*len(names))
			for i, e := range log {
				f.same("stream in the log", string(e.Stream), names[i%len(names)])
			}
		}},
		{"CategoriesOfOddNames", func(f *fixture) {
			names := distinct(oddNames())
			var last eventstore.AppendResult
			count := map[string]int{}
			for i, name := range names {
				last = f.append(eventstore.StreamID(name), eventstore.NoStream, f.event(i))
				count[eventstore.StreamID(name).Category()]++
			}
			for category, want := range count {
				got := f.log(last, eventstore.LogQuery{Filter: eventstore.Filter{Categories: []string{category}}})
				f.same(fmt.Sprintf("events of category %q", category), len(got), want)
			}
		}},
		{"TypesOfOddNames", func(f *fixture) {
			names := distinct(oddNames())
			var last eventstore.AppendResult
			for i, name := range names {
				last = f.append("order-1", eventstore.Any, f.eventOf(eventstore.EventType(name), i))
			}
			for i, e := range f.read("order-1", eventstore.StreamQuery{}) {
				f.same("type", string(e.Type), names[i])
			}
			for i, name := range names {
				got := f.log(last, eventstore.LogQuery{Filter: eventstore.Filter{Types: []eventstore.EventType{eventstore.EventType(name)}}})
				if len(got) != 1 || got[0].Position != eventstore.Position(i+1) {
					f.Fatalf("the log has %d events of type %q: %+v", len(got), name, got)
				}
			}
		}},
		{"BadNamesAreRefused", func(f *fixture) {
			for _, name := range badNames() {
				_, err := eventstore.Append(f.ctx(), f, eventstore.StreamID(name), eventstore.Any, f.event(0))
				f.refused(fmt.Sprintf("append to stream %.20q", name), err, eventstore.ErrInvalid)
				_, err = eventstore.Append(f.ctx(), f, "order-1", eventstore.Any, f.eventOf(eventstore.EventType(name), 0))
				f.refused(fmt.Sprintf("append of type %.20q", name), err, eventstore.ErrInvalid)
				f.fails(fmt.Sprintf("read of stream %.20q", name), eventstore.ErrInvalid, func() error {
					_, err := eventstore.Collect(f.ReadStream(f.ctx(), eventstore.StreamID(name), eventstore.StreamQuery{}))
					return err
				})
			}
			f.logCount(0)
		}},
	}
}

func distinct(names []string) []string {
	seen := map[string]bool{}
	var all []string
	for _, name := range names {
		if !seen[name] {
			all = append(all, name)
		}
		seen[name] = true
	}
	return all
}
