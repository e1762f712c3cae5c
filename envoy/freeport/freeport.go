// Package freeport finds ports for the programs that a test starts with a port in their configuration.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that the system gives to outgoing connections and to listeners on port 0, which
// any other test on the machine may hold when the program starts.
const (
	lowest  = 10_000
	highest = 32_000
)

var (
	mu   sync.Mutex
	held []*net.UDPConn // until the process ends
)

// Take returns a TCP port of 127.0.0.1 that is free. No later call gets it, in this process or in another,
// until this process ends: Take holds the UDP port of the same number.
func Take() (string, error) {
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		mark, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		number := strconv.Itoa(port)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", number))
		if err != nil {
			_ = mark.Close() // nobody has seen the mark
			continue
		}
		mu.Lock()
		held = append(held, mark)
		mu.Unlock()
		return number, l.Close()
	}
	return "", errors.New("freeport: found no free port in 100 tries")
}
