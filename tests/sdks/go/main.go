// Command sdks does what an application does with Dapr's Go SDK: one line per step. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	service "github.com/dapr/go-sdk/service/http"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const patience = 30 * time.Second

type word struct {
	By    string          `json:"by,omitempty"`
	From  string          `json:"from,omitempty"`
	Heard json.RawMessage `json:"heard,omitempty"`
}

func main() {
	// The SDK reports on standard output, which is ours.
	dapr.SetLogger(log.Default())
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	events := make(chan string, 16)
	if err := serve(events); err != nil {
		return err
	}
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Wait(ctx, patience); err != nil {
		return err
	}
	fmt.Println("wait")
	known, err := client.GetMetadata(ctx)
	if err != nil || known.ID != os.Getenv("DAPR_APP_ID") {
		return fmt.Errorf("metadata: %v %w", known, err)
	}
	fmt.Println("metadata")
	for _, step := range []func(context.Context, dapr.Client) error{state, secret, invoke} {
		if err := step(ctx, client); err != nil {
			return err
		}
	}
	if err := publish(ctx, client, "go-served", events); err != nil {
		return err
	}
	fmt.Println("event served")
	if err := stream(ctx, client); err != nil {
		return err
	}
	fmt.Println("done")
	// Others may still call.
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func serve(events chan<- string) error {
	server := service.NewService(net.JoinHostPort("127.0.0.1", os.Getenv("APP_PORT")))
	subscription := &common.Subscription{PubsubName: os.Getenv("BUS"), Topic: "go-served", Route: "/events"}
	err := server.AddTopicEventHandler(subscription, func(_ context.Context, event *common.TopicEvent) (bool, error) {
		events <- string(event.RawData)
		return false, nil
	})
	if err != nil {
		return err
	}
	hello := func(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
		answer, err := json.Marshal(word{By: "go", Heard: in.Data})
		return &common.Content{Data: answer, ContentType: "application/json"}, err
	}
	if err := server.AddServiceInvocationHandler("/hello", hello); err != nil {
		return err
	}
	go func() { log.Fatal(server.Start()) }()
	return nil
}

func state(ctx context.Context, client dapr.Client) error {
	store := os.Getenv("STORE")
	if err := client.SaveState(ctx, store, "go-a", []byte(`{"step":1}`), nil); err != nil {
		return err
	}
	item, err := client.GetState(ctx, store, "go-a", nil)
	if err != nil || string(item.Value) != `{"step":1}` || item.Etag == "" {
		return fmt.Errorf("read %v: %w", item, err)
	}
	fmt.Println("state")
	write := func(text string) error {
		return client.SaveStateWithETag(ctx, store, "go-a", []byte(text), item.Etag, nil, dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite))
	}
	if err := write(`{"step":2}`); err != nil {
		return err
	}
	if err := write(`{"step":3}`); code(err) != codes.Aborted {
		return fmt.Errorf("no conflict but %w", err)
	}
	fmt.Println("conflict")
	err = client.ExecuteStateTransaction(ctx, store, nil, []*dapr.StateOperation{
		{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "go-b", Value: []byte(`"transacted"`)}},
		{Type: dapr.StateOperationTypeDelete, Item: &dapr.SetStateItem{Key: "go-a"}},
	})
	if err != nil {
		return err
	}
	items, err := client.GetBulkState(ctx, store, []string{"go-a", "go-b"}, nil, 2)
	if err != nil {
		return err
	}
	for _, item := range items {
		if (item.Key == "go-b") != (string(item.Value) == `"transacted"`) || item.Error != "" {
			return fmt.Errorf("after the transaction: %+v", item)
		}
	}
	fmt.Println("transaction")
	if err := client.DeleteState(ctx, store, "go-b", nil); err != nil {
		return err
	}
	if item, err = client.GetState(ctx, store, "go-b", nil); err != nil || len(item.Value) > 0 {
		return fmt.Errorf("still there: %v %w", item, err)
	}
	fmt.Println("delete")
	return nil
}

func secret(ctx context.Context, client dapr.Client) error {
	store := os.Getenv("SECRETS")
	if store == "" {
		return nil
	}
	found, err := client.GetSecret(ctx, store, "SDKS_SECRET", nil)
	if err != nil || found["SDKS_SECRET"] != "kept" {
		return fmt.Errorf("secret: %v %w", found, err)
	}
	fmt.Println("secret")
	return nil
}

func invoke(ctx context.Context, client dapr.Client) error {
	for _, peer := range strings.Split(os.Getenv("PEERS"), ",") {
		content := &dapr.DataContent{ContentType: "application/json", Data: []byte(`{"from":"go"}`)}
		err := until(func() error {
			answer, err := client.InvokeMethodWithContent(ctx, peer, "hello", "post", content)
			if err != nil {
				return err
			}
			var said, heard word
			if err := errors.Join(json.Unmarshal(answer, &said), json.Unmarshal(said.Heard, &heard)); err != nil || heard.From != "go" {
				return fmt.Errorf("%s: %w", answer, err)
			}
			fmt.Println("invoke", said.By)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", peer, err)
		}
	}
	return nil
}

// Publishes until an event arrives.
func publish(ctx context.Context, client dapr.Client, topic string, events <-chan string) error {
	return until(func() error {
		if err := client.PublishEvent(ctx, os.Getenv("BUS"), topic, word{By: topic}); err != nil {
			return err
		}
		select {
		case data := <-events:
			var got word
			if err := json.Unmarshal([]byte(data), &got); err != nil || got.By != topic {
				return fmt.Errorf("another event: %s", data)
			}
			return nil
		case <-time.After(time.Second):
			return errors.New("no event yet")
		}
	})
}

func stream(ctx context.Context, client dapr.Client) error {
	events := make(chan string, 16)
	options := dapr.SubscriptionOptions{PubsubName: os.Getenv("BUS"), Topic: "go-streamed"}
	stop, err := client.SubscribeWithHandler(ctx, options, func(event *common.TopicEvent) common.SubscriptionResponseStatus {
		events <- string(event.RawData)
		return common.SubscriptionResponseStatusSuccess
	})
	if err != nil {
		return err
	}
	if err := publish(ctx, client, "go-streamed", events); err != nil {
		return err
	}
	fmt.Println("event streamed")
	return stop()
}

func until(ask func() error) error {
	end := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// The SDK wraps what gRPC said.
func code(err error) codes.Code {
	var said interface{ GRPCStatus() *status.Status }
	if errors.As(err, &said) {
		return said.GRPCStatus().Code()
	}
	return codes.OK
}
