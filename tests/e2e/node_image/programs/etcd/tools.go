//go:build tools

// Package tools names the programs that this module is for.
package tools

import _ "go.etcd.io/etcd/server/v3"
