package hal

import "testing"

func kernelGPIO(t *testing.T) rig  { return rig{} }
func kernelADC(t *testing.T) rig   { return rig{} }
func kernelDAC(t *testing.T) rig   { return rig{} }
func kernelAccel(t *testing.T) rig { return rig{} }
func kernelHwmon(t *testing.T) rig { return rig{} }
func kernelLED(t *testing.T) rig   { return rig{} }
