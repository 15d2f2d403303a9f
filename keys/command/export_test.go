package command

// CheckClock is what every command that changes a manifest asks first.
var CheckClock = checkClock
