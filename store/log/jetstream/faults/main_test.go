//go:build !root

package faults_test

import (
	"testing"

	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

func TestMain(m *testing.M) { clustertest.Main(m) }
