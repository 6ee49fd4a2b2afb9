package pipeline

import "go.mongodb.org/mongo-driver/v2/bson"

func parseSetWindowFields(p *parser, arg bson.RawValue) ([]stage, error) { return nil, fail(238, "x") }
func parseDensify(p *parser, arg bson.RawValue) ([]stage, error)         { return nil, fail(238, "x") }
func parseFill(p *parser, arg bson.RawValue) ([]stage, error)            { return nil, fail(238, "x") }
