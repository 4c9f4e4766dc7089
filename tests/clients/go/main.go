// Runs Go's donovanhide/eventsource, from Debian: main <tasks>, a JSON list of {task, url}. Each line of the output is a
// JSON object with its task: a message that the client reported, {event, data, id}, or the error of its first request,
// {error}. A client is left at the message "end".
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync"

	"github.com/donovanhide/eventsource"
)

type task struct {
	Task int
	Url  string
}

type line struct {
	Task  int    `json:"task"`
	Event string `json:"event"`
	Data  string `json:"data"`
	Id    string `json:"id"`
}

type failure struct {
	Task  int    `json:"task"`
	Error string `json:"error"`
}

func (task task) read(lines chan<- interface{}) {
	request, err := http.NewRequest("GET", task.Url, nil)
	if err != nil {
		panic(err)
	}
	// Its Close() may panic while it reports an error. A client that is left without it would request the URL again.
	context, leave := context.WithCancel(context.Background())
	defer leave()
	stream, err := eventsource.SubscribeWithRequest("", request.WithContext(context))
	if err != nil {
		lines <- failure{task.Task, err.Error()}
		return
	}
	go func() {
		for range stream.Errors { // lost connections: it reconnects by itself
		}
	}()
	for message := range stream.Events {
		name := message.Event()
		if name == "" {
			name = "message"
		}
		lines <- line{task.Task, name, message.Data(), message.Id()}
		if name == "end" || message.Data() == "[DONE]" {
			return
		}
	}
}

func main() {
	var tasks []task
	if err := json.Unmarshal([]byte(os.Args[1]), &tasks); err != nil {
		panic(err)
	}
	lines := make(chan interface{})
	var left sync.WaitGroup
	for _, one := range tasks {
		left.Add(1)
		go func(one task) {
			defer left.Done()
			one.read(lines)
		}(one)
	}
	go func() {
		left.Wait()
		close(lines)
	}()
	output := json.NewEncoder(os.Stdout)
	for one := range lines {
		output.Encode(one)
	}
}
