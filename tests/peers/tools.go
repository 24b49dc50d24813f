//go:build tools

// Package peers pins the upstream programs and the upstream integration suite that judge Palladium.
//
// Its one idea: `go.mod` and `go.sum` are the only place where a version of a peer is written down.
// It must never hold code of ours that a peer runs.
package peers

import (
	_ "github.com/dapr/dapr/cmd/daprd/app"
	_ "github.com/dapr/dapr/cmd/placement/app"
	_ "github.com/dapr/dapr/cmd/scheduler/app"
	_ "github.com/dapr/dapr/cmd/sentry/app"
	_ "github.com/dapr/dapr/tests/integration/framework"
	_ "github.com/dapr/dapr/tests/integration/suite/sentry/oidc"
)
