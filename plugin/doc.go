// Package plugin runs code that others put on a board: each guest is a process of
// its own, with a user, a cgroup and a folder of its own, and no more than it was
// given. It knows bundles, processes, the limits of the kernel, logs and the
// protocol of callable plugins; it does not know who may run what, nor the cloud.
package plugin
