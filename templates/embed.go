// Package templates embeds the built-in plans, which are files like a user's
// own. go:embed cannot reach outside its directory, hence this package.
package templates

import "embed"

// Plans holds plans/*.yaml.
//
//go:embed plans/*.yaml
var Plans embed.FS
