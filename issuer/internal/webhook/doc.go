// Package webhook sends events to an organization's server, signed by Standard
// Webhooks 1.0 (https://www.standardwebhooks.com): the receiver verifies them with a
// library of that project, in any language.
//
// An event is sent at once or not at all: there is no queue. A slow or dead receiver
// takes up bounded time and, for each organization, a bounded number of connections.
package webhook
