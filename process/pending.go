package process

import (
	"context"
	"fmt"

	"github.com/annals-es/annals/projection"
)

// Pending lists the commands of a manager's current version that are not carried
// out yet, at most limit of them (all when zero).
func Pending[S any](ctx context.Context, m Manager[S], docs projection.DocumentStore, resolver *projection.Resolver, limit int) ([]Command, error) {
	model, _, err := resolver.Model(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	found, err := docs.ScanDocuments(ctx, model+outboxModel, "", "", limit)
	if err != nil {
		return nil, fmt.Errorf("list pending commands of %s: %w", m.Name, err)
	}
	commands := make([]Command, len(found))
	for i, f := range found {
		var d commandDoc
		err := m.codec().Unmarshal(f.Data, &d)
		if err == nil {
			commands[i], err = d.command(m.Commands)
		}
		if err != nil {
			return nil, fmt.Errorf("pending command %q of %s: %w", f.Key, m.Name, err)
		}
	}
	return commands, nil
}
