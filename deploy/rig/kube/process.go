package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
)

// A Process is an API server or an etcd that runs.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
	output  *os.File
}

// startProcess runs a program until Kill.
func startProcess(program string, args ...string) (*Process, error) {
	output, err := os.CreateTemp("", "kube-log-")
	if err != nil {
		return nil, err
	}
	// Nothing needs the name, and so nothing stays behind.
	_ = os.Remove(output.Name())
	// No context: the API server must end before its etcd, and a test's context
	// ends both at once.
	command := exec.CommandContext(context.Background(), program, args...) //nolint:gosec // one of Programs
	command.Stdout, command.Stderr = output, output
	p := &Process{command: command, ended: make(chan struct{}), output: output}
	if err := command.Start(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // it is killed in the end, which is an error
	}()
	return p, nil
}

// Kill ends the process at once, as a crash would. One that was never started,
// or is gone already, is none of its concern.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = p.command.Process.Kill()
	<-p.ended
	_ = p.output.Close()
}

// tail is the end of what the process said.
func (p *Process) tail() string {
	const most = 4000
	end, err := p.output.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(end, most))
	if _, err := p.output.ReadAt(text, end-int64(len(text))); err != nil {
		return err.Error()
	}
	return string(text)
}

// FreeAddress returns a loopback address that is free now.
func FreeAddress() string {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // loopback without a free port
	}
	defer listener.Close()
	return listener.Addr().String()
}
