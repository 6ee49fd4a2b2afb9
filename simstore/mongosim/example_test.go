package mongosim_test

import (
	"context"
	"fmt"
	"log"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/simstore/mongosim"
)

// A server outside a test, reached through pipes.
func Example() {
	srv, err := mongosim.New(mongosim.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := mongo.Connect(srv.ClientOptions())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer func() { _ = client.Disconnect(ctx) }()

	orders := client.Database("shop").Collection("orders")
	if _, err := orders.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "total", Value: 42}}); err != nil {
		log.Fatal(err)
	}
	_, err = orders.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}})
	fmt.Println(mongo.IsDuplicateKeyError(err))
	// Output: true
}

// A retryable write survives a reply that is lost: it is sent again and applied once.
func ExampleServer_FailCommand() {
	srv, err := mongosim.New(mongosim.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := mongo.Connect(srv.ClientOptions())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer func() { _ = client.Disconnect(ctx) }()

	if err := srv.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, Times: 1, LoseReply: true}); err != nil {
		log.Fatal(err)
	}
	orders := client.Database("shop").Collection("orders")
	_, err = orders.InsertOne(ctx, bson.D{{Key: "total", Value: 42}})
	n, _ := orders.CountDocuments(ctx, bson.D{})
	fmt.Println(err, n)
	// Output: <nil> 1
}
