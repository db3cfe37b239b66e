// Package geo finds places: which are within a distance of one, or in an area, without
// looking at each of 100,000. Places are on WGS 84; distances are those on a sphere.
package geo
