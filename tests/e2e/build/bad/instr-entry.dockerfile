FROM busybox
ENTRYPOINTS ["sh"]
