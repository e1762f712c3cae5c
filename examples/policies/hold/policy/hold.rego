package policy

# METADATA
# title: Deletions in the applications wait for an operator
# description: |
#   A DELETE is answered as without the rule: the user is gone from the directory, locked and revoked, and the account
#   in each application is disabled. Only its deletion waits for `scimward approvals`. Narrow the body to hold fewer
#   deletions, such as those of users who are still active: input.stored.active.
hold["deletion"] := {"message": "deletions need the approval of the security team"} if input.method == "DELETE"

# A bundle needs both rules. Every request has a method, so this one refuses nothing.
requirements["method"] := {"message": "a request has a method"} if not input.method

satisfied contains "method" if input.method
