FROM busybox
SHEL ["sh"]
