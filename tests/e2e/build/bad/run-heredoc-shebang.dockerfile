FROM busybox
RUN <<E
#!/no/such/interpreter
x
E
