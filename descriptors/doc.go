// Package descriptors shares out the file descriptors of a process, so that
// what is many and can be refused (rtunnels, connections of public ports) never
// takes those that the rest of the process needs: the one port, the database,
// the log.
package descriptors
