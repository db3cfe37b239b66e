package wire

// MethodCertificate is what a process asks that shows a certificate of the cloud's
// own CA and does not have it: CertificateRequest -> CertificateReply, Conflict where
// the conductor shows another. It is asked again every hour.
const MethodCertificate = "process.certificate"

// MaxCertificateHosts bounds the names and addresses of one certificate.
const MaxCertificateHosts = 16

// CertificateRequest is a certificate request (PKCS #10, DER) for the key of a
// process, which stays there, and the names and addresses that others reach it at.
type CertificateRequest struct {
	Request []byte `json:"request"`
}

// CertificateReply is what the conductor signed.
type CertificateReply struct {
	Certificate []byte `json:"certificate"` // DER
	CA          []byte `json:"ca"`          // DER, of who signed it
	Trust       Trust  `json:"trust"`       // what boards and users are told
}
