package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

var namedOne = expr.As("one", 1)

type account struct {
	ID      bson.ObjectID `bson:"_id"`
	Name    string        `bson:"name"`
	Balance int64         `bson:"balance"`
	Version int64         `bson:"version"`
	Created time.Time     `bson:"created_at"`
	Updated time.Time     `bson:"updated_at"`
	Deleted *time.Time    `bson:"deleted_at,omitempty"`
}

func accounts(t *testing.T, change func(*query.RepositoryConfig[account, bson.ObjectID])) *query.Repository[account, bson.ObjectID] {
	t.Helper()
	now := start
	config := query.RepositoryConfig[account, bson.ObjectID]{
		ID:        func(a *account) *bson.ObjectID { return &a.ID },
		Version:   func(a *account) *int64 { return &a.Version },
		CreatedAt: func(a *account) *time.Time { return &a.Created },
		UpdatedAt: func(a *account) *time.Time { return &a.Updated },
		DeletedAt: func(a *account) **time.Time { return &a.Deleted },
		Now:       func() time.Time { now = now.Add(time.Minute + 5*time.Microsecond); return now },
	}
	if change != nil {
		change(&config)
	}
	r, err := query.NewRepository(dbForTest(t).Collection("accounts"), config)
	require.NoError(t, err)
	return r
}

func TestRepositoryLife(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	repo := accounts(t, nil)
	a := &account{Name: "Ada"}
	require.NoError(t, repo.Save(ctx, a))
	assert.False(t, a.ID.IsZero())
	assert.EqualValues(t, 1, a.Version)
	assert.Equal(t, start.Add(time.Minute), a.Created)
	assert.Equal(t, a.Created, a.Updated)

	got, err := repo.Get(ctx, a.ID)
	require.NoError(t, err)
	assert.Equal(t, *a, got)

	a.Balance = 10
	require.NoError(t, repo.Save(ctx, a))
	assert.EqualValues(t, 2, a.Version)
	assert.Equal(t, start.Add(2*time.Minute), a.Updated)

	stale := got
	stale.Balance = 99
	err = repo.Save(ctx, &stale)
	require.ErrorIs(t, err, query.ErrConflict)
	assert.EqualValues(t, 1, stale.Version, "a refused entity is left as it was")
	assert.Equal(t, got.Updated, stale.Updated)

	patched, err := repo.Patch(ctx, a.ID, query.Inc("balance", 5))
	require.NoError(t, err)
	assert.EqualValues(t, 15, patched.Balance)
	assert.EqualValues(t, 3, patched.Version)
	assert.True(t, patched.Updated.After(a.Updated))
	require.ErrorIs(t, repo.Update(ctx, a), query.ErrConflict)
	_, err = repo.PatchVersion(ctx, a.ID, 2, query.Inc("balance", 5))
	require.ErrorIs(t, err, query.ErrConflict)
	patched, err = repo.PatchVersion(ctx, a.ID, 3, query.Inc("balance", 5))
	require.NoError(t, err)
	assert.EqualValues(t, 20, patched.Balance)

	n, err := repo.Count(ctx, query.Gte("balance", 20))
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
	there, err := repo.Exists(ctx, a.ID)
	require.NoError(t, err)
	assert.True(t, there)

	require.ErrorIs(t, repo.DeleteVersion(ctx, a.ID, 1), query.ErrConflict)
	require.NoError(t, repo.DeleteVersion(ctx, a.ID, 4))
	_, err = repo.Get(ctx, a.ID)
	require.ErrorIs(t, err, query.ErrNotFound)
	require.ErrorIs(t, repo.Delete(ctx, a.ID), query.ErrNotFound)
	require.ErrorIs(t, repo.DeleteVersion(ctx, a.ID, 5), query.ErrNotFound)
	_, err = repo.Patch(ctx, a.ID, query.Inc("balance", 1))
	require.ErrorIs(t, err, query.ErrNotFound)
	require.ErrorIs(t, repo.Update(ctx, &patched), query.ErrNotFound)
	n, err = repo.Count(ctx)
	require.NoError(t, err)
	assert.Zero(t, n)
	deleted, err := repo.FindWithDeleted(query.Eq("_id", a.ID)).One(ctx)
	require.NoError(t, err)
	assert.NotNil(t, deleted.Deleted)
	assert.EqualValues(t, 5, deleted.Version)

	again, err := repo.Restore(ctx, a.ID)
	require.NoError(t, err)
	assert.Nil(t, again.Deleted)
	assert.EqualValues(t, 6, again.Version)
	_, err = repo.Restore(ctx, a.ID)
	require.ErrorIs(t, err, query.ErrNotFound)
	require.NoError(t, repo.Purge(ctx, a.ID))
	require.ErrorIs(t, repo.Purge(ctx, a.ID), query.ErrNotFound)
}

func TestRepositoryNewEntities(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	repo := accounts(t, nil)
	_, err := repo.Collection().Mongo().Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "name", Value: 1}}, Options: uniqueIndex()})
	require.NoError(t, err)
	a := &account{ID: bson.NewObjectID(), Name: "a"}
	require.NoError(t, repo.Insert(ctx, a))
	require.ErrorIs(t, repo.Insert(ctx, a), query.ErrInvalid, "it has a version")

	sameID := &account{ID: a.ID, Name: "b"}
	err = repo.Insert(ctx, sameID)
	require.ErrorIs(t, err, query.ErrDuplicate)
	assert.Zero(t, sameID.Version)
	require.ErrorIs(t, repo.Save(ctx, sameID), query.ErrConflict, "somebody else stored one under the id")
	sameName := &account{Name: "a"}
	err = repo.Save(ctx, sameName)
	require.ErrorIs(t, err, query.ErrDuplicate)
	require.NotErrorIs(t, err, query.ErrConflict)
	assert.True(t, sameName.ID.IsZero())
	require.ErrorIs(t, repo.Update(ctx, &account{}), query.ErrInvalid)
	require.ErrorIs(t, repo.Update(ctx, &account{ID: bson.NewObjectID()}), query.ErrNotFound)
}

func TestRepositoryWithoutVersions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	repo := accounts(t, func(c *query.RepositoryConfig[account, bson.ObjectID]) { c.Version, c.DeletedAt = nil, nil })
	a := &account{Name: "a"}
	require.NoError(t, repo.Save(ctx, a))
	b := *a
	b.Name = "b"
	require.NoError(t, repo.Save(ctx, &b))
	a.Name = "c"
	require.NoError(t, repo.Save(ctx, a), "the last one wins")
	assert.Equal(t, b.Created, a.Created)
	require.NoError(t, repo.Update(ctx, a))
	_, err := repo.PatchVersion(ctx, a.ID, 1, query.Set("name", "x"))
	require.ErrorIs(t, err, query.ErrInvalid)
	require.ErrorIs(t, repo.DeleteVersion(ctx, a.ID, 1), query.ErrInvalid)
	_, err = repo.Restore(ctx, a.ID)
	require.ErrorIs(t, err, query.ErrInvalid)
	_, err = repo.Patch(ctx, a.ID, query.Compute(namedOne))
	require.ErrorIs(t, err, query.ErrInvalid)
	require.NoError(t, repo.Delete(ctx, a.ID))
	n, err := repo.FindWithDeleted().Count(ctx)
	require.NoError(t, err)
	assert.Zero(t, n)

	soft := accounts(t, func(c *query.RepositoryConfig[account, bson.ObjectID]) { c.Version = nil })
	require.NoError(t, soft.Save(ctx, a))
	require.NoError(t, soft.Delete(ctx, a.ID))
	require.ErrorIs(t, soft.Save(ctx, a), query.ErrConflict, "it has been deleted")
}

func TestRepositoryConcurrentSaves(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	repo := accounts(t, func(c *query.RepositoryConfig[account, bson.ObjectID]) { c.Now = nil })
	a := &account{}
	require.NoError(t, repo.Save(ctx, a))
	const writers, each = 4, 10
	errs := make(chan error, writers)
	for range writers {
		go func() {
			errs <- func() error {
				for range each {
					for {
						mine, err := repo.Get(ctx, a.ID)
						if err != nil {
							return err
						}
						mine.Balance++
						err = repo.Save(context.WithoutCancel(ctx), &mine)
						if err == nil {
							break
						}
						if !assert.ErrorIs(t, err, query.ErrConflict) {
							return err
						}
					}
				}
				return nil
			}()
		}()
	}
	for range writers {
		require.NoError(t, <-errs)
	}
	got, err := repo.Get(ctx, a.ID)
	require.NoError(t, err)
	assert.EqualValues(t, writers*each, got.Balance)
	assert.EqualValues(t, writers*each+1, got.Version)
}

func TestNewRepositoryRefuses(t *testing.T) {
	t.Parallel()
	coll := dbForTest(t).Collection("accounts")
	outside := int64(0)
	type wrongID struct {
		ID string `bson:"id"`
	}
	_, err := query.NewRepository(coll, query.RepositoryConfig[account, bson.ObjectID]{})
	require.ErrorContains(t, err, "RepositoryConfig.ID")
	_, err = query.NewRepository(coll, query.RepositoryConfig[wrongID, string]{ID: func(w *wrongID) *string { return &w.ID }})
	require.ErrorContains(t, err, "_id")
	_, err = query.NewRepository(coll, query.RepositoryConfig[account, bson.ObjectID]{
		ID: func(a *account) *bson.ObjectID { return &a.ID }, Version: func(*account) *int64 { return &outside },
	})
	require.ErrorContains(t, err, "RepositoryConfig.Version")
	_, err = query.NewRepository(nil, query.RepositoryConfig[account, bson.ObjectID]{})
	require.ErrorIs(t, err, query.ErrInvalid)

	type named struct {
		ID string `bson:"_id"`
	}
	repo, err := query.NewRepository(coll, query.RepositoryConfig[named, string]{ID: func(n *named) *string { return &n.ID }})
	require.NoError(t, err)
	require.ErrorIs(t, repo.Save(t.Context(), &named{}), query.ErrInvalid)
	repo, err = query.NewRepository(coll, query.RepositoryConfig[named, string]{ID: func(n *named) *string { return &n.ID }, NewID: func() string { return "made" }})
	require.NoError(t, err)
	n := &named{}
	require.NoError(t, repo.Save(t.Context(), n))
	assert.Equal(t, "made", n.ID)
}
