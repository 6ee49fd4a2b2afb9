package query

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Point is a place on earth: longitude first, as GeoJSON has it, in degrees.
type Point struct{ Longitude, Latitude float64 }

func (p Point) valid() bool {
	return p.Longitude >= -180 && p.Longitude <= 180 && p.Latitude >= -90 && p.Latitude <= 90
}

func (p Point) coordinates() bson.A { return bson.A{p.Longitude, p.Latitude} }

// GeoJSON returns the point as a value to store.
func (p Point) GeoJSON() bson.D {
	return bson.D{{Key: "type", Value: "Point"}, {Key: "coordinates", Value: p.coordinates()}}
}

// WithinPolygon matches places inside the polygon. Its corners may be closed
// (first equals last) or left open.
func WithinPolygon(field string, corners ...Point) Filter {
	return polygonFilter(kindGeoWithin, field, corners)
}

// IntersectsPolygon matches shapes that touch the polygon.
func IntersectsPolygon(field string, corners ...Point) Filter {
	return polygonFilter(kindGeoIntersects, field, corners)
}

func polygonFilter(k kind, field string, corners []Point) Filter {
	ring := make(bson.A, 0, len(corners)+1)
	for _, c := range corners {
		if !c.valid() {
			return wrong("filter on %q: %v is not a place on earth", field, c)
		}
		ring = append(ring, c.coordinates())
	}
	if len(corners) > 0 && corners[0] != corners[len(corners)-1] {
		ring = append(ring, corners[0].coordinates())
	}
	if len(ring) < 4 {
		return wrong("filter on %q: a polygon needs at least three corners", field)
	}
	geometry := bson.D{{Key: "type", Value: "Polygon"}, {Key: "coordinates", Value: bson.A{ring}}}
	return plainOp(k, field, bson.D{{Key: "$geometry", Value: geometry}})
}

// WithinRadius matches places at most so many metres from the centre, in no
// particular order and without the need for an index.
func WithinRadius(field string, centre Point, metres float64) Filter {
	const earthRadius = 6378100.0 // metres, the server's own figure
	if !centre.valid() || !(metres >= 0) || math.IsInf(metres, 0) {
		return wrong("filter on %q: WithinRadius of %v metres around %v", field, metres, centre)
	}
	return plainOp(kindGeoWithin, field, bson.D{{Key: "$centerSphere", Value: bson.A{centre.coordinates(), metres / earthRadius}}})
}

// Near matches places from nearest to farthest, between the two distances in
// metres (a maximum of 0 means no maximum). It needs a 2dsphere index, and
// can't stand under Or, nor in a count or a page.
func Near(field string, centre Point, minMetres, maxMetres float64) Filter {
	if !centre.valid() || !(minMetres >= 0) || !(maxMetres >= 0) || maxMetres > 0 && maxMetres < minMetres {
		return wrong("filter on %q: Near %v, from %v to %v metres", field, centre, minMetres, maxMetres)
	}
	d := bson.D{{Key: "$geometry", Value: centre.GeoJSON()}}
	if minMetres > 0 {
		d = append(d, bson.E{Key: "$minDistance", Value: minMetres})
	}
	if maxMetres > 0 {
		d = append(d, bson.E{Key: "$maxDistance", Value: maxMetres})
	}
	return plainOp(kindNear, field, d)
}
