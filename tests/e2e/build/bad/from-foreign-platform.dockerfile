FROM --platform=linux/riscv64 scratch
RUN true
