import pandas as pd

# do stuff with pandas

print ('job finished successfully')
