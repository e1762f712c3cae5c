package revoke

import (
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store/subject"
)

// toWire returns the subject as a plugin reads it.
func toWire(s *subject.Subject) *abi.Subject {
	return &abi.Subject{
		SCIMID: s.SCIMID, ExternalID: s.ExternalID, UserName: s.UserName,
		FormerUserNames: s.FormerUserNames, Emails: s.Emails,
	}
}

// FromWire returns the user that a plugin named. It returns an empty subject for nil.
func FromWire(i *abi.Identity) subject.Subject {
	if i == nil {
		return subject.Subject{}
	}
	return subject.Subject{SCIMID: i.SCIMID, UserName: i.UserName, AppUserID: i.AppUserID}
}
