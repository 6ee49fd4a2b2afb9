package command

import (
	"context"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// configureFailPoint sets failCommand. Other fail points belong to the real server's
// innards.
func configureFailPoint(_ context.Context, r *request, out *reply) error {
	name, ok := r.first().StringValueOK()
	if !ok || name != FailCommand {
		return mongoerr.New(mongoerr.FailPointSetFailed, "%s not found", name)
	}
	mode, err := parseFailMode(r.field("mode"))
	if err != nil {
		return err
	}
	data, err := parseFailData(r.field("data"))
	if err != nil {
		return err
	}
	out.int32("count", int32(r.e.fail.set(mode, data)))
	return nil
}
