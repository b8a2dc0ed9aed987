FROM busybox
WORKIDR /a
